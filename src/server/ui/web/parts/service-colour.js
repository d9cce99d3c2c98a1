// The colour of a service: always the same for the same name, one of twelve that are told apart in both themes.

const COLOURS = 12;
/** @type {Map<string, number>} */
const known = new Map();

/** Number of the colour of a service, for the class `s0` … `s11`. @param {string | null | undefined} name */
export function colourOf(name) {
  const text = name ?? "";
  let colour = known.get(text);
  if (colour === undefined) {
    let hash = 2166136261;
    for (let i = 0; i < text.length; i += 1) hash = Math.imul(hash ^ text.charCodeAt(i), 16777619);
    colour = ((hash >>> 0) ^ (hash >>> 15)) % COLOURS;
    if (colour < 0) colour += COLOURS;
    known.set(text, colour);
  }
  return colour;
}
