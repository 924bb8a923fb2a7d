// Builds the page into `dist/`, and the list of its files for the function `dashboard`.
//
//     node build.mjs <folder with node_modules>           writes what has changed
//     node build.mjs <folder with node_modules> --check   fails if what is committed is something else
//
// Names have the hash of their content, so browsers may keep files for ever.

import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, extname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync, gzipSync } from "node:zlib";

const [modules, mode] = process.argv.slice(2);
const require = createRequire(join(resolve(modules), "/"));
const esbuild = require("esbuild");

const HERE = dirname(fileURLToPath(import.meta.url));
const DIST = join(HERE, "dist");
const LIST = join(HERE, "../functions/dashboard/src/page_files.rs");
const MEDIA_TYPES = {
  ".css": "text/css; charset=utf-8",
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".svg": "image/svg+xml",
  ".txt": "text/plain; charset=utf-8",
};
/** What is in the files besides the project's own. */
const PARTS = ["preact", "uplot"];

const source = (name) => readFileSync(join(HERE, "src", name), "utf8");

/** All files by their names. */
async function build() {
  const files = new Map();
  const add = (name, text) => {
    const ending = extname(name);
    const hash = createHash("sha256").update(text).digest("hex").slice(0, 12);
    const hashed = `${name.slice(0, -ending.length)}-${hash}${ending}`;
    files.set(hashed, text);
    return hashed;
  };
  const licenses = add("licenses.txt", PARTS.map(license).join("\n\n"));
  const [{ text: chartText }] = await bundle("chart.js");
  const chart = add("chart.js", chartText);
  const outputs = await bundle("main.jsx", {
    define: { LICENSES: JSON.stringify(`page/${licenses}`) },
    plugins: [imported("./chart.js", `./${chart}`)],
  });
  const names = new Map([["icon.svg", add("icon.svg", source("icon.svg"))]]);
  for (const { path, text } of outputs) {
    const name = `main${extname(path)}`;
    names.set(name, add(name, text));
  }
  files.set(
    "index.html",
    source("index.html").replace(/\{([\w.]+)\}/g, (_, name) => names.get(name)),
  );
  return new Map([...files].sort());
}

async function bundle(entry, options = {}) {
  const { outputFiles } = await esbuild.build({
    entryPoints: [join(HERE, "src", entry)],
    nodePaths: [join(resolve(modules), "node_modules")],
    outdir: DIST,
    write: false,
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2023",
    charset: "utf8",
    jsx: "automatic",
    jsxImportSource: "preact",
    legalComments: "none",
    logLevel: "warning",
    ...options,
  });
  return outputFiles;
}

/** Leaves a module out of a bundle: it is imported from the file of this name. */
function imported(module, file) {
  const setup = (build) => {
    build.onResolve({ filter: new RegExp(`^${module.replaceAll(".", "\\.")}$`) }, () => ({
      path: file,
      external: true,
    }));
  };
  return { name: "imported", setup };
}

function license(part) {
  const folder = join(resolve(modules), "node_modules", part);
  const { version } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  return `${part} ${version}\n\n${readFileSync(join(folder, "LICENSE"), "utf8").trim()}\n`;
}

function list(names) {
  const entries = names.map(
    (name) => `    PageFile {
        name: "${name}",
        media_type: "${MEDIA_TYPES[extname(name)]}",
        gzip: include_bytes!("../../../page/dist/${name}.gz"),
    },
`,
  );
  return `//! The files of the page. \`cargo xtask page\` makes this list; change \`page/src\` instead.

use crate::page_file::PageFile;

pub(crate) const PAGE_FILES: &[PageFile] = &[
${entries.join("")}];
`;
}

/** What is committed, in the form of what \`build\` returns. */
function committed() {
  const names = existsSync(DIST) ? readdirSync(DIST).sort() : [];
  // Other versions of zlib compress to other bytes.
  const text = (name) => gunzipSync(readFileSync(join(DIST, name))).toString();
  return new Map(names.map((name) => [name.replace(/\.gz$/, ""), text(name)]));
}

function differences(built) {
  const old = committed();
  const names = new Set([...built.keys(), ...old.keys()]);
  const differing = [...names].filter((name) => built.get(name) !== old.get(name));
  const isListed = existsSync(LIST) && readFileSync(LIST, "utf8") === list([...built.keys()]);
  return isListed ? differing : [...differing, LIST];
}

function write(built) {
  rmSync(DIST, { recursive: true, force: true });
  mkdirSync(DIST, { recursive: true });
  for (const [name, text] of built) {
    writeFileSync(join(DIST, `${name}.gz`), gzipSync(text, { level: 9 }));
  }
  writeFileSync(LIST, list([...built.keys()]));
}

const built = await build();
const differing = differences(built);
if (mode === "--check") {
  if (differing.length > 0) {
    console.error(`page/dist is not built from page/src (${differing.join(", ")}): run \`cargo xtask page\``);
    process.exitCode = 1;
  }
} else if (differing.length > 0) {
  write(built);
}
let total = 0;
for (const name of built.keys()) {
  const { length } = existsSync(join(DIST, `${name}.gz`)) ? readFileSync(join(DIST, `${name}.gz`)) : [];
  total += length ?? 0;
  console.log(`${String(length).padStart(6)} bytes  ${name}`);
}
console.log(`${String(total).padStart(6)} bytes compressed`);
