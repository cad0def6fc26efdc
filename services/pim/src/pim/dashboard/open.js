// A part of the page is replaced whole when it changes; logs that the reader has opened stay open, and the focus stays.
(() => {
  const open = new Set();
  let focused = "";
  document.addEventListener("toggle", ({ target }) => {
    if (target.isConnected && target.id) target.open ? open.add(target.id) : open.delete(target.id);
  }, true);
  document.addEventListener("focusin", ({ target }) => { focused = target.closest("details")?.id ?? ""; });
  addEventListener("DOMContentLoaded", () => new MutationObserver(() => {
    for (const id of open) {
      const details = document.getElementById(id);
      if (details && !details.open) details.open = true;
    }
    if (focused && document.activeElement === document.body) {
      document.getElementById(focused)?.querySelector("summary")?.focus({ preventScroll: true });
    }
  }).observe(document.body, { childList: true, subtree: true }));
})();
