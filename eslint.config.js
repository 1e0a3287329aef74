// What TypeScript does not look for: dead code, shadowed intent, and what may not be in a page at all.
import js from "@eslint/js";

export default [
  js.configs.recommended,
  {
    files: ["**/*.js"],
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      "no-undef": "off", // TypeScript knows what a browser has
      "no-unused-vars": "off", // and what is unused, arguments before the last one left out
      "eqeqeq": "error",
      "no-var": "error",
      "prefer-const": "error",
      // A strict Content-Security-Policy stands; text from files and devices is text.
      "no-eval": "error",
      "no-implied-eval": "error",
      "no-new-func": "error",
      "no-restricted-properties": [
        "error",
        ...["innerHTML", "outerHTML", "insertAdjacentHTML", "write"].map((property) => ({
          property,
          message: "text reaches a page as textContent alone",
        })),
      ],
    },
  },
];
