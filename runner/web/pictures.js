// Pictures that a user shows to a model: made small in the browser, kept as data: URLs.

const MAX_EDGE_PX = 1024; // more than vision models look at
const QUALITY = 0.85;

/** Read a file of any format that the browser knows; an Error says which file it does not. */
export async function picture(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new Error(`${file.name || "What was pasted"} is no picture that this browser can read.`);
  }
  const scale = Math.min(1, MAX_EDGE_PX / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const paper = canvas.getContext("2d");
  paper.fillStyle = "white"; // JPEG has no transparency
  paper.fillRect(0, 0, canvas.width, canvas.height);
  paper.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return canvas.toDataURL("image/jpeg", QUALITY);
}

/** The pictures among what was dropped, pasted or chosen. */
export function pictureFiles(files) {
  return [...files].filter((file) => file.type.startsWith("image/"));
}
