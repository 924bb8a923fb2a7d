// Reads JSON without losing a digit: `JSON.parse` rounds integers beyond 2⁵³, and sums have up to 38
// digits.

// A string, or a number outside of strings.
const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?/g;

/** The value of a JSON text, in which each number is a string with the number's own digits. */
export function parseExactly(text) {
  return JSON.parse(text.replace(TOKEN, (token) => (token[0] === '"' ? token : `"${token}"`)));
}
