// Shows the banner #stale while the parts of a page that refresh themselves can't be refreshed.
(() => {
  const LATE_MS = 25000; // every page asks for its banners each 15 s
  let good = Date.now(); // when the page was last up to date
  let visible = good; // a hidden page is not refreshed

  const show = (isStale) => {
    const banner = document.getElementById("stale");
    if (!banner) return;
    banner.querySelector("span").textContent = Math.round((Date.now() - good) / 1000) + " s ago";
    banner.hidden = !isStale;
  };

  document.addEventListener("htmx:error", () => show(true));
  document.addEventListener("htmx:after:request", (event) => {
    const status = event.detail.ctx.response.status;
    if (status >= 500) return show(true);
    good = Date.now();
    show(false);
  });
  document.addEventListener("visibilitychange", () => {
    visible = Date.now();
  });
  setInterval(() => {
    if (!document.hidden && Date.now() - Math.max(good, visible) > LATE_MS) show(true);
  }, 5000);
})();
