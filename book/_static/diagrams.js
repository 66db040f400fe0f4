// Draws the page's Mermaid diagrams, and draws them anew when the reader switches between light and dark.
(() => {
  const diagrams = [...document.querySelectorAll("div.mermaid")];
  diagrams.forEach((diagram) => { diagram.dataset.source = diagram.textContent; });
  let drawn = null;
  const draw = () => {
    const theme = document.documentElement.dataset.theme === "dark" ? "dark" : "neutral";
    if (theme === drawn) return;
    drawn = theme;
    diagrams.forEach((diagram) => {
      diagram.removeAttribute("data-processed");
      diagram.textContent = diagram.dataset.source;
    });
    mermaid.initialize({ startOnLoad: false, theme, flowchart: { useMaxWidth: true } });
    mermaid.run({ nodes: diagrams });
  };
  draw();
  new MutationObserver(draw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
})();
