// node wasi.mjs PROGRAM.wasm ARGUMENT…: runs a program, which may read this machine's files.
import { readFileSync } from "node:fs";
import { argv } from "node:process";
import { WASI } from "node:wasi";

const wasi = new WASI({ version: "preview1", args: argv.slice(2), preopens: { "/": "/" }, returnOnExit: true });
const module = await WebAssembly.compile(readFileSync(argv[2]));
process.exitCode = wasi.start(await WebAssembly.instantiate(module, wasi.getImportObject()));
