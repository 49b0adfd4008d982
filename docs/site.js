if (location.protocol === "file:") document.documentElement.classList.add("from-files");
// tables that scroll are reached without a mouse too; the theme wraps them once the page is there
addEventListener("load", () => {
  for (const wrap of document.querySelectorAll(".md-typeset__scrollwrap")) wrap.tabIndex = 0;
});
