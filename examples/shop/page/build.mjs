// Bundles the page into dist/: index.html, app.js, app.css.
import { cp, rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const at = (path) => fileURLToPath(new URL(path, import.meta.url));

await rm(at("dist"), { recursive: true, force: true });
await cp(at("public"), at("dist"), { recursive: true });
await build({
  absWorkingDir: at("."),
  entryPoints: ["src/main.tsx", "src/style/app.css"].map((path) => ({ in: path, out: "app" })),
  outdir: "dist",
  bundle: true,
  minify: true,
  format: "esm",
  target: ["es2022", "chrome123", "firefox128", "safari17.5"],
  jsx: "automatic",
  jsxImportSource: "preact",
  // In the style sheet itself: the page is three files, and its policy allows no other origin.
  loader: { ".woff2": "dataurl" },
  legalComments: "none",
  logLevel: "info",
});
