// Drawn pictures as every network here takes them: normalized floats, in either order of the dimensions.

const MEAN = [0.485, 0.456, 0.406];
const STD = [0.229, 0.224, 0.225];

/**
 * One input per picture.
 * @param {Uint8Array} bytes Pictures of `side` by `side`, RGB, one behind the other.
 * @param {number} side
 * @param {"NCHW" | "NHWC"} layout
 * @returns {Float32Array[]}
 */
export function pictures(bytes, side, layout) {
  const pixels = side * side;
  const inputs = [];
  for (let start = 0; start < bytes.length; start += 3 * pixels) {
    const input = new Float32Array(3 * pixels);
    for (let i = 0; i < 3 * pixels; i++) {
      const channel = i % 3;
      const place = layout === "NHWC" ? i : channel * pixels + (i - channel) / 3;
      input[place] = (bytes[start + i] / 255 - MEAN[channel]) / STD[channel];
    }
    inputs.push(input);
  }
  return inputs;
}
