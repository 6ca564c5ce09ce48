"use strict";
/* Fetches this page again every two seconds and copies what changed. Python renders all
   texts and shapes (render.py). The fetched document runs no script of its own. */
(() => {
  const EVERY_MS = 2000;
  const TIMEOUT_MS = 5000;
  const lost = document.getElementById("lost");
  const pause = document.getElementById("pause");
  let paused = false;

  // XMLHttpRequest parses a document by itself: the policy allows no string as markup.
  const fetchPage = () =>
    new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open("GET", "");
      request.responseType = "document";
      request.timeout = TIMEOUT_MS;
      request.onerror = request.ontimeout = reject;
      request.onload = () => {
        const page = request.status === 200 && request.response;
        return page && page.querySelector("main") ? resolve(page) : reject();
      };
      request.send();
    });

  const code = (page) => Array.from(page.querySelectorAll("style, script"), (node) => node.textContent).join();

  const copy = (fresh, shown) => {
    if (fresh.nodeName !== shown.nodeName) {
      shown.replaceWith(fresh);
    } else if (fresh.nodeType === Node.TEXT_NODE) {
      if (shown.data !== fresh.data) shown.data = fresh.data;
    } else {
      for (const { name } of [...shown.attributes]) if (!fresh.hasAttribute(name)) shown.removeAttribute(name);
      for (const { name, value } of fresh.attributes) if (shown.getAttribute(name) !== value) shown.setAttribute(name, value);
      const nodes = [...fresh.childNodes];
      nodes.forEach((node, i) => (shown.childNodes[i] ? copy(node, shown.childNodes[i]) : shown.append(node)));
      while (shown.childNodes.length > nodes.length) shown.lastChild.remove();
    }
  };

  const show = (page) => {
    if (code(page) !== code(document)) {
      location.reload(); // Another version of the sidecar answers now.
      return;
    }
    for (const part of ["header", "main", "#about"]) copy(page.querySelector(part), document.querySelector(part));
    document.title = page.title;
    document.body.className = "";
    lost.hidden = true;
  };

  const showLost = () => {
    if (!lost.hidden) return;
    lost.textContent = `Not answering since ${new Date().toISOString().slice(0, 19)}Z. The values are as of ${document.getElementById("asof").textContent}.`;
    lost.hidden = false;
    document.title = "Not answering - sidecar";
    document.body.className = "lost";
  };

  const poll = async () => {
    if (!paused && !document.hidden) {
      try {
        const page = await fetchPage();
        if (!paused) show(page);
      } catch {
        showLost();
      }
    }
    setTimeout(poll, EVERY_MS);
  };

  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.textContent = paused ? "Continue" : "Pause";
  });
  setTimeout(poll, EVERY_MS);
})();
