// Each method returns what it could read of an address; it throws, or returns nothing, where the browser does not let it.
const post = {method: "POST", body: new URLSearchParams({a: "1"})};

const byFetch = options => async url => (await fetch(url, {credentials: "include", ...options})).text();

const byXHR = method => url => new Promise((resolve, reject) => {
  const request = new XMLHttpRequest();
  request.open(method, url);
  request.withCredentials = true;
  request.onload = () => resolve(request.responseText);
  request.onerror = () => reject(new Error("not readable"));
  request.send(method === "POST" ? post.body : null);
});

const element = (name, attributes) => new Promise((resolve, reject) => {
  const made = Object.assign(document.createElement(name), attributes);
  made.onload = () => resolve(made);
  made.onerror = () => reject(new Error("not loaded"));
  setTimeout(() => reject(new Error("never loaded")), 5000);
  document.getElementById("stage").append(made);
});

const byFrame = (name, attribute) => async url => {
  const frame = await element(name, {[attribute]: url});
  return frame.contentDocument.body.textContent;
};

const pixels = drawable => {
  const canvas = Object.assign(document.createElement("canvas"), {width: drawable.width, height: drawable.height});
  canvas.getContext("2d").drawImage(drawable, 0, 0);
  return canvas.toDataURL();
};

const image = url => element("img", {crossOrigin: "use-credentials", src: url});

const methods = {
  "fetch GET": ["txt", byFetch({})],
  "fetch POST": ["txt", byFetch(post)],
  "XMLHttpRequest GET": ["txt", byXHR("GET")],
  "XMLHttpRequest POST": ["txt", byXHR("POST")],
  "iframe": ["txt", byFrame("iframe", "src")],
  "object": ["txt", byFrame("object", "data")],
  "image on a canvas": ["png", async url => pixels(await image(url))],
  "image as a bitmap": ["png", async url => pixels(await createImageBitmap(await image(url)))],
};

const settings = [
  {origin: location.origin, creds: 1},
  {origin: location.origin, creds: 0},
  {origin: "*", creds: 1},
  {origin: "*", creds: 0},
  {origin: "", creds: 0},
];

const attempt = async (kind, read, setting, name) => {
  const query = new URLSearchParams({...setting, method: name});
  try {
    return (await read(`${origins.target}/secret/secret.${kind}?${query}`)) ? "read" : "blocked";
  } catch {
    return "blocked";
  }
};

const cell = (row, name, text, className = "") =>
  row.append(Object.assign(document.createElement(name), {textContent: text, className}));

const main = async () => {
  await logIn();
  const table = document.getElementById("verdicts");
  const head = table.tHead.insertRow();
  cell(head, "th", "");
  for (const {origin, creds} of settings) cell(head, "th", `${origin || "none"}${creds ? ", credentials" : ""}`);
  const verdicts = {};
  for (const [name, [kind, read]] of Object.entries(methods)) {
    const row = table.tBodies[0].insertRow();
    cell(row, "th", name);
    verdicts[name] = await Promise.all(settings.map(setting => attempt(kind, read, setting, name)));
    for (const verdict of verdicts[name]) cell(row, "td", verdict, verdict);
  }
  window.found = verdicts;
  document.getElementById("state").textContent = "Done.";
};

main();
