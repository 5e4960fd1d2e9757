// Before the first paint: the viewer's own choice of theme and language, so that nothing flashes.
(() => {
  const root = document.documentElement;
  const kept = (name) => {
    try {
      return localStorage.getItem(name);
    } catch {
      return null;
    }
  };
  const theme = kept("callseal.theme");
  if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  const language = kept("callseal.language") || navigator.language || "en";
  root.lang = language.toLowerCase().startsWith("zh") ? "zh-CN" : "en";
})();
