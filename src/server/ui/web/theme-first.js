// Before the first picture: the theme that was chosen, so that nothing flashes. Not a module, since those run later.
document.documentElement.dataset.theme = localStorage.getItem("broadloom.theme") ?? "system";
