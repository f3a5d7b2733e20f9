// What `tests/dashboards/history.rs` posts, as far as the tests know it by heart.
//
//   visitor -> shop/web (n1, zone a) -> shop/api (n2, zone b)       shop/batch (n3) reported until 20 minutes ago
//                       \-> S3

/** The server that has it. */
export const history = { url: process.env.WEIR_HISTORY_URL };
/** Its last minute's end, Unix seconds: an hour before that is full of it. */
export const END = Number(process.env.WEIR_HISTORY_END);
export const START = END - 3600;
export const MINUTES = 60;

/** The hour in a link. */
const text = (at) => new Date(at * 1000).toISOString().replace(".000Z", "Z");
export const HOUR = `from=${encodeURIComponent(text(START))}&to=${encodeURIComponent(text(END))}`;

/** A minute of web to api, from both ends; of web to S3; and of visitors of web. */
export const API = {
  bytes: 660_000,
  tx_packets: 1000,
  retransmits: 20,
  timeouts: 3,
  connects: 10,
  connect_failures: 2,
  server_tx_packets: 2000,
  server_retransmits: 10,
  server_timeouts: 1,
  drops: 6,
  server_drops: 1,
  /** Sent by one end and not received by the other. */
  lost_tx: 1000 - 985,
  lost_rx: 2000 - 1990,
};
export const S3 = { bytes: 18_000, tx_packets: 10, connects: 1 };
export const VISITORS = { bytes: 33_000, tx_packets: 30 };
