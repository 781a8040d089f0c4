// The key / moves the focus into the search box, unless the person types into a field.
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
  const box = document.getElementById("search");
  const at = event.target;
  if (!box || at.isContentEditable || at.closest("input, textarea, select")) return;
  event.preventDefault();
  box.focus();
  box.select();
});
