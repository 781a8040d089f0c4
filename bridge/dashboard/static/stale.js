// Shows the banner #stale while a part of the page that refreshes itself can't be refreshed.
(() => {
  const LATE_MS = 25000; // every page asks for its banners each 15 s
  const loaded = Date.now();
  const good = new Map(); // of each address: when it last answered
  const failing = new Set(); // the addresses whose latest request failed
  let latest = loaded; // when any of them last answered
  let visible = loaded; // a hidden page is not refreshed

  const clock = (at) => {
    const zone = document.getElementById("stale").dataset.zone;
    const style = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
    try {
      return new Intl.DateTimeFormat("en-GB", { ...style, timeZone: zone }).format(at);
    } catch {
      return new Intl.DateTimeFormat("en-GB", style).format(at); // a zone that it does not know
    }
  };

  const show = () => {
    const banner = document.getElementById("stale");
    if (!banner) return;
    const isLate = !document.hidden && Date.now() - Math.max(latest, visible) > LATE_MS;
    const since = [...failing].map((address) => good.get(address) ?? loaded);
    if (isLate) since.push(latest);
    if (since.length) banner.querySelector("span").textContent = clock(Math.min(...since));
    banner.hidden = !since.length;
  };

  // An address without its query: a part is the same one when its query changes.
  const addressOf = (event) => (event.detail.ctx?.request?.action ?? "").split("?")[0];

  // A form that a person sends is not a part that refreshes itself.
  const isRefresh = (event) =>
    event.detail.ctx?.sourceElement?.getAttribute("hx-trigger")?.startsWith("every") ?? true;

  document.addEventListener("htmx:error", (event) => {
    if (!isRefresh(event)) return;
    failing.add(addressOf(event));
    show();
  });
  document.addEventListener("htmx:after:request", (event) => {
    if (!isRefresh(event)) return;
    const address = addressOf(event);
    if (event.detail.ctx.response.status >= 500) {
      failing.add(address);
    } else {
      failing.delete(address);
      failing.delete("");
      latest = Date.now();
      good.set(address, latest);
    }
    show();
  });
  document.addEventListener("visibilitychange", () => {
    visible = Date.now();
  });
  setInterval(show, 5000);
})();
