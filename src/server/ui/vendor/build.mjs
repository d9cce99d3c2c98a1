// Bundles the libraries of the page from the lock file, and lists their licences.
//
//   npm ci --ignore-scripts && node build.mjs            writes codemirror.js and LICENSES.md
//   npm ci --ignore-scripts && node build.mjs --check    fails where they differ from what would be written
import { readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { build } from "esbuild";

const folder = new URL(".", import.meta.url).pathname;

/** Bundles one entry into a module; its text and the packages in it. */
async function bundle(name) {
  const { outputFiles, metafile } = await build({
    absWorkingDir: folder,
    entryPoints: [`${name}.entry.js`],
    bundle: true,
    format: "esm",
    target: "es2023",
    minify: true,
    legalComments: "none",
    metafile: true,
    write: false,
  });
  const packages = Object.keys(metafile.inputs)
    .map((path) => /^node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1])
    .filter((packageName) => packageName !== undefined);
  return { text: outputFiles[0].text, packages: [...new Set(packages)].sort() };
}

/** The text of the licence file of a package. */
function licence(packageName) {
  for (const file of ["LICENSE", "LICENSE.md", "LICENSE.txt", "LICENCE"]) {
    try {
      return readFileSync(`${folder}node_modules/${packageName}/${file}`, "utf8").trim();
    } catch {
      // The next name.
    }
  }
  throw new Error(`${packageName} has no licence file`);
}

/** Packages with their versions and licences, as Markdown; packages of one text together. */
function licences(packages) {
  const byText = new Map();
  for (const packageName of packages) {
    const { version, license } = JSON.parse(readFileSync(`${folder}node_modules/${packageName}/package.json`, "utf8"));
    const text = licence(packageName);
    byText.set(text, [...(byText.get(text) ?? []), `- ${packageName} ${version} (${license})`]);
  }
  const parts = [...byText].map(([text, names]) => `${names.join("\n")}\n\n\`\`\`text\n${text}\n\`\`\``);
  return `# Licences of the libraries in codemirror.js\n\n${parts.join("\n\n")}\n`;
}

const { text, packages } = await bundle("codemirror");
const outputs = { "codemirror.js": text, "LICENSES.md": licences(packages) };
const differing = [];
for (const [file, wanted] of Object.entries(outputs)) {
  if (!process.argv.includes("--check")) {
    writeFileSync(folder + file, wanted);
    console.log(`${file}: ${wanted.length} bytes`);
  } else if (readFileSync(folder + file, "utf8") !== wanted) {
    differing.push(file);
  }
}
if (differing.length > 0) {
  console.error(`not what node build.mjs writes: ${differing.join(", ")}, in ${dirname(folder + "x")}`);
  process.exit(1);
}
