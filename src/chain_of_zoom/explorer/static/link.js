// A view as the part of the page's address behind #: photo, centre, zoom, words, version and branch.

/** @typedef {import("./view.js").Spot} Spot */
/** @typedef {{photo: string, spot: Spot | null, words: string, version: number, branch: string}} Link */

/** @param {string} hash @returns {Link} */
export function readLink(hash) {
  const values = new URLSearchParams(hash.replace(/^#/, ""));
  const [x, y, zoom] = ["x", "y", "zoom"].map((name) => Number(values.get(name) ?? NaN));
  const [photo, branch] = ["photo", "branch"].map((name) => values.get(name) ?? "").map((text) => (/^[0-9a-f]{32}$/.test(text) ? text : ""));
  const isSpot = Number.isFinite(x) && Number.isFinite(y) && zoom > 0 && zoom < 1e9;
  return {
    photo,
    spot: isSpot ? { x, y, zoom } : null,
    words: (values.get("words") ?? "").slice(0, 2000),
    version: Math.max(1, Math.floor(Number(values.get("version") ?? 1)) || 1),
    branch,
  };
}

/** @param {Link} link */
export function writeLink({ photo, spot, words, version, branch }) {
  const values = new URLSearchParams({ photo });
  if (spot) {
    values.set("x", spot.x.toFixed(12));
    values.set("y", spot.y.toFixed(12));
    values.set("zoom", String(Number(spot.zoom.toPrecision(9))));
  }
  if (version > 1) values.set("version", String(version));
  if (branch) values.set("branch", branch);
  if (words) values.set("words", words);
  return `#${values}`;
}
