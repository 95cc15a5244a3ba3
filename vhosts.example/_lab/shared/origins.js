// The two origins, on whatever port they are served.
const origins = {
  page: `${location.protocol}//page.lab.localhost:${location.port}`,
  target: `${location.protocol}//target.lab.localhost:${location.port}`,
};

addEventListener("DOMContentLoaded", () => {
  for (const element of document.querySelectorAll("[data-origin]")) {
    const origin = origins[element.dataset.origin];
    if (element.href) element.href = origin + element.getAttribute("href");
    else element.textContent = origin;
  }
});

// Logging in needs no password at the target, and no permission: the cookie is set whether or not the answer may be read.
const logIn = () => fetch(`${origins.target}/login`, {mode: "no-cors", credentials: "include"});
