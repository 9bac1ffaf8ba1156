import { effect } from "@preact/signals";
import { stored } from "./stored";

/** `auto` follows the visitor's system. */
export const THEMES = ["auto", "light", "dark"] as const;

/** How the page looks. */
export const theme = stored("sampan.theme", "auto");

effect(() => {
  document.documentElement.dataset.theme = theme.value;
});
