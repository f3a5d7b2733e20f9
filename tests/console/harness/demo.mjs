// The shop of the demo, as it was recorded.

/** The server that plays it. */
export const demo = { url: process.env.WEIR_DEMO_URL };
/** Around all of it, Unix seconds. */
export const START = Number(process.env.WEIR_DEMO_START);
export const END = Number(process.env.WEIR_DEMO_END);

const text = (at) => new Date(at * 1000).toISOString().replace(".000Z", "Z");
export const RANGE = { start: START, end: END };
/** The day in a link. */
export const DAY = `from=${encodeURIComponent(text(START))}&to=${encodeURIComponent(text(END))}`;
/** Its second half; the incident is in the first one. */
export const LATE = `from=${encodeURIComponent(text(Math.floor((START + END) / 2)))}&to=${encodeURIComponent(text(END))}`;

/** The pod that loses packets. */
export const UNLUCKY = "products-58c7f6d94b-t7h5w";
