/** What each end counted of the same packets, a line for each direction. */
import { exact, percent, quantity } from "../format/numbers.ts";
import { lossOf, lossText, lossTitle } from "./loss.ts";

/** Measures that it is made of. */
export const COMPARED = [
  "tx_packets",
  "server_rx_packets",
  "lost_tx",
  "server_tx_packets",
  "rx_packets",
  "lost_rx",
  "retransmits",
  "server_retransmits",
  "timeouts",
  "server_timeouts",
  "drops",
  "server_drops",
] as const;

type Name = (typeof COMPARED)[number];

/** From here on a share of retransmits is set off: throughput of loss-based congestion control suffers. */
const MUCH = 0.01;

interface Direction {
  name: string;
  sent: Name;
  arrived: Name;
  lost: Name;
  retransmits: Name;
  timeouts: Name;
  drops: Name;
}

const DIRECTIONS: readonly Direction[] = [
  {
    name: "client → server",
    sent: "tx_packets",
    arrived: "server_rx_packets",
    lost: "lost_tx",
    retransmits: "retransmits",
    timeouts: "timeouts",
    drops: "drops",
  },
  {
    name: "server → client",
    sent: "server_tx_packets",
    arrived: "rx_packets",
    lost: "lost_rx",
    retransmits: "server_retransmits",
    timeouts: "server_timeouts",
    drops: "server_drops",
  },
];

/** `of` gives a measure; null is unknown. `id` of the heading. */
export function BothEnds({ of, id }: { of(name: Name): number | null; id: string }) {
  const dropped = DIRECTIONS.some(({ drops }) => (of(drops) ?? 0) > 0);
  return (
    <section>
      <h3 id={id}>Both ends compared</h3>
      <div class="scroll" tabIndex={0} role="region" aria-labelledby={id}>
        <table class="both">
          <thead>
            <tr>
              <th scope="col">Packets</th>
              <Head name="sent" title="Data segments or datagrams, as counted at the end that sends" />
              <Head name="arrived" title="The same, as counted at the end that receives" />
              <Head name="lost" title="Sent, and not arrived" />
              <Head
                name="retransmits"
                title="TCP segments that the sender sent once more, and their share of what it sent; each is one packet or more"
              />
              <Head name="timeouts" title="Retransmission timeouts (RTO) of the sender: it waited in vain" />
              {dropped && (
                <Head name="drops" title="Packets of the sender that the kernel of its node dropped" />
              )}
            </tr>
          </thead>
          <tbody>
            {DIRECTIONS.map((direction) => {
              const sent = of(direction.sent);
              const lost = of(direction.lost);
              const retransmits = of(direction.retransmits);
              const loss = lossOf(lost, retransmits);
              const share = sent !== null && sent > 0 && retransmits !== null ? retransmits / sent : null;
              const much = share !== null && share >= MUCH;
              return (
                <tr key={direction.name}>
                  <th scope="row">{direction.name}</th>
                  <Count of={of} name={direction.sent} />
                  <Count of={of} name={direction.arrived} />
                  <td
                    class={`number ${loss === "lost" ? "much" : "muted"}`}
                    title={lossTitle(lost, loss)}
                    data-measure={direction.lost}
                    data-loss={loss}
                  >
                    {lossText(lost)}
                  </td>
                  <td
                    class={`number ${much ? "much" : ""}`}
                    title={exact(retransmits, "segments")}
                    data-measure={direction.retransmits}
                  >
                    {quantity(retransmits, "")}
                    {share !== null && share > 0 && <span class="share"> {percent(share)}</span>}
                  </td>
                  <Count of={of} name={direction.timeouts} bad={much} />
                  {dropped && <Count of={of} name={direction.drops} bad />}
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
    </section>
  );
}

function Head({ name, title }: { name: string; title: string }) {
  return (
    <th scope="col" class="number" title={title}>
      {name}
    </th>
  );
}

/** `bad`: more than none is set off. */
function Count({ of, name, bad }: { of(name: Name): number | null; name: Name; bad?: boolean }) {
  const value = of(name);
  const none = value === null || value === 0;
  return (
    <td
      class={`number ${none ? "muted" : bad === true ? "much" : ""}`}
      title={exact(value, "")}
      data-measure={name}
    >
      {quantity(value, "")}
    </td>
  );
}
