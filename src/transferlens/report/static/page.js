"use strict";
// Anchors into closed parts open them; print opens the stories; the section in view is marked.
(() => {
  const reveal = () => {
    const id = decodeURIComponent(location.hash.slice(1));
    const aim = id && document.getElementById(id);
    if (!aim) return;
    for (let at = aim; at; at = at.parentElement) {
      if (at.tagName === "DETAILS") at.open = true;
    }
    aim.scrollIntoView();
  };
  addEventListener("hashchange", reveal);
  reveal();

  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details.story:not([open])")];
    for (const one of closed) one.open = true;
  });
  addEventListener("afterprint", () => {
    for (const one of closed) one.open = false;
  });

  const links = new Map();
  for (const link of document.querySelectorAll("nav a")) links.set(link.hash.slice(1), link);
  if (!links.size || !("IntersectionObserver" in window)) return;
  const seen = new Set();
  const watch = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) seen.add(entry.target.id);
      else seen.delete(entry.target.id);
    }
    let first = null;
    for (const [id, link] of links) {
      link.removeAttribute("aria-current");
      if (first === null && seen.has(id)) first = link;
    }
    if (first) first.setAttribute("aria-current", "true");
  }, { rootMargin: "-10% 0px -60% 0px" });
  for (const id of links.keys()) {
    const section = document.getElementById(id);
    if (section) watch.observe(section);
  }
})();
