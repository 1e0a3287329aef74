// Names of networks, as short as they can be and still be told apart.

/**
 * Without the words that all begin with, and those that all end with.
 * @param {string[]} names
 * @returns {string[]}
 */
export function shortened(names) {
  if (names.length < 2) return names;
  const words = names.map((name) => name.split(/([-._])/));
  const first = shared(words, 0, 1);
  const last = shared(words, -1, -1);
  const cut = words.map((each) => each.slice(first, Math.max(first + 1, each.length - last)).join(""));
  return new Set(cut).size === names.length ? cut.map((name) => name.replace(/^[-._]+|[-._]+$/g, "")) : names;
}

/**
 * How many words are the same in all, from one end on; one is left of each.
 * @param {string[][]} words
 * @param {number} from
 * @param {1 | -1} step
 */
function shared(words, from, step) {
  const most = Math.min(...words.map((each) => each.length)) - 1;
  let count = 0;
  while (count < most && new Set(words.map((each) => each.at(from + step * count))).size === 1) count++;
  return count;
}
