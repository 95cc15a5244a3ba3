const cache = new URLSearchParams(location.search).get("cache") ?? `${location.origin}/cache`;
const form = document.getElementById("form");

const main = async () => {
  document.getElementById("cache").textContent = cache;
  // The address after /goto/ has no host: the redirect leads back to the origin that the request came from.
  document.getElementById("trap").href = `?${new URLSearchParams({cache: `${origins.page}/goto//cache`})}`;
  await logIn();
  form.data.value = await (await fetch("/secret/secret.txt")).text();
  form.action = document.getElementById("saved").href = `${cache}/${crypto.randomUUID()}`;
  form.dataset.ready = "yes";
};

main();
