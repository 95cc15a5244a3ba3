// When the list changes, also in another window, it is fetched again and takes the place of the one that is shown.
const events = new EventSource(document.currentScript.dataset.changes);
events.onmessage = async () => {
  const page = new DOMParser().parseFromString(await (await fetch(location.href)).text(), "text/html");
  document.querySelector("ul").replaceWith(page.querySelector("ul"));
};
