// Keys of the waterfall that ask the tree: fold and unfold, next match, next error, zoom.

/**
 * @param {{
 *   model: () => import("./trace-model.js").TraceModel | null, active: () => number, goTo: (row: number) => void,
 *   fold: (row: number, isShut: boolean) => void, toMatch: (by: 1 | -1) => void,
 *   zoomTo: (from: number, to: number) => void, toggleCritical: () => void, open: (place: number) => void,
 * }} page
 * @returns {(event: KeyboardEvent, place: number) => boolean} was it one of them?
 */
export function traceKeys(page) {
  return (event, place) => {
    const model = page.model();
    if (model === null) return false;
    const row = place >= 0 ? model.rowAt(place) : -1;
    const error = (/** @type {1 | -1} */ by) => {
      const next = model.nextError(by === 1 ? row : row < 0 ? model.loaded : row, by);
      if (next >= 0) page.goTo(next);
    };
    /** @type {Record<string, () => void>} */
    const acts = {
      n: () => page.toMatch(1),
      N: () => page.toMatch(-1),
      e: () => error(1),
      E: () => error(-1),
      c: () => page.toggleCritical(),
      0: () => page.zoomTo(0, Infinity),
      z: () => row >= 0 && page.zoomTo(model.start[row], model.start[row] + Math.max(1, model.duration[row] || 1)),
      ArrowRight: () => {
        if (row < 0) return;
        if (model.shut[row] === 1) page.fold(row, false);
        else if (model.hasChildren(row)) page.goTo(row + 1);
      },
      ArrowLeft: () => {
        if (row < 0) return;
        if (model.hasChildren(row) && model.shut[row] === 0) page.fold(row, true);
        else if (model.parent[row] >= 0) page.goTo(model.parent[row]);
      },
    };
    if (!(event.key in acts)) return false;
    acts[event.key]();
    return true;
  };
}
