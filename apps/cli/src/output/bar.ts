// A bar for work that takes long, on a terminal.

const WIDTH = 24;

/** `██████░░░░ 3 of 5`; a whole bar where there is nothing to do. */
export function formatBar(done: number, total: number): string {
  const share = total <= 0 ? 1 : Math.min(1, Math.max(0, done / total));
  const filled = Math.floor(share * WIDTH);
  return `${'█'.repeat(filled)}${'░'.repeat(WIDTH - filled)} ${done} of ${total}`;
}
