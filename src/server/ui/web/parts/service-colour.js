// The colour of a service: by its name, one of twelve that are told apart in both themes.

const COLOURS = 12;
/** @type {Map<string, number>} */
const known = new Map();

/** Number of the colour of a service, for the class `s0` … `s11`: always the same for a name. @param {string | null | undefined} name */
export function colourOf(name) {
  const text = name ?? "";
  let colour = known.get(text);
  if (colour === undefined) {
    let hash = 2166136261;
    for (let i = 0; i < text.length; i += 1) hash = Math.imul(hash ^ text.charCodeAt(i), 16777619);
    colour = ((hash ^ (hash >>> 15)) >>> 0) % COLOURS;
    known.set(text, colour);
  }
  return colour;
}

/**
 * Colours of services that are seen together: that of each name, or the next one that is free.
 * @param {Iterable<string>} names in the order in which they are seen @returns {Map<string, number>}
 */
export function coloursOf(names) {
  /** @type {Map<string, number>} */
  const colours = new Map();
  const taken = new Set();
  for (const name of names) {
    if (colours.has(name)) continue;
    let colour = colourOf(name);
    for (let step = 0; step < COLOURS && taken.has(colour); step += 1) colour = (colour + 5) % COLOURS;
    colours.set(name, colour);
    taken.add(colour);
  }
  return colours;
}
