/** Names of pods where there is little room. */

/**
 * At most about `most` characters of a pod's name that tell it from others: the beginning of its workload's name,
 * which tells it from pods of other workloads, and its own end, which tells it from its siblings.
 */
export function shortPod(pod: string, workload: string | null, most: number): string {
  if (pod.length <= most) return pod;
  const dash = pod.lastIndexOf("-");
  if (dash <= 0 || dash === pod.length - 1) return `${pod.slice(0, most - 1)}…`;
  const own = pod.slice(dash);
  const beginning =
    workload !== null && pod.startsWith(`${workload}-`) ? workload : pod.slice(0, -own.length);
  return `${beginning.slice(0, Math.max(2, most - own.length - 1))}…${own}`;
}
