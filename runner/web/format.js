// Numbers as people read them.

const UNITS = ["B", "kB", "MB", "GB", "TB"];

/** Bytes in powers of 1000, as disks and downloads are sold. */
export function bytes(count) {
  let unit = 0;
  while (count >= 999.5 && unit < UNITS.length - 1) {
    count /= 1000;
    unit += 1;
  }
  return `${count >= 99.5 || unit === 0 ? Math.round(count) : count.toFixed(1)} ${UNITS[unit]}`;
}

/** Seconds as `45 s`, `3 min 20 s`, `2 h 5 min`. */
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** A count with its group separators. */
export function count(number) {
  return number.toLocaleString("en");
}

/** A model's name without what every name has: Docker Hub's host, and the tag `latest`. */
export function shortName(name) {
  return name.replace(/^docker\.io\//, "").replace(/:latest$/, "");
}
