// Hosts for tests: one network namespace each, joined by point-to-point links that can be cut and healed.
import { execFileSync } from 'node:child_process';

/** Why hosts cannot be made here, or undefined where they can. */
export function whyNoHosts(): string | undefined {
  if (process.getuid?.() !== 0) return 'network namespaces need root';
  try {
    execFileSync('ip', ['netns', 'add', 'isthmus-probe'], { stdio: 'pipe' });
    execFileSync('ip', ['netns', 'delete', 'isthmus-probe'], { stdio: 'pipe' });
    return undefined;
  } catch (error) {
    return `ip netns does not work here: ${error instanceof Error ? error.message.split('\n')[0] : String(error)}`;
  }
}

/** Named hosts with one address each (10.77.<n>.1), and the links between them. */
export type Network = {
  readonly address: (host: string) => string;
  /** What `ip netns` calls it. */
  readonly namespace: (host: string) => string;
  /** The command that runs a program on a host. */
  readonly on: (host: string, command: readonly string[]) => readonly [string, readonly string[]];
  /** Frames of that link go nowhere from now on, without any error to either side. */
  readonly cut: (a: string, b: string) => void;
  readonly heal: (a: string, b: string) => void;
  readonly remove: () => void;
};

const ip = (...args: string[]): void => {
  execFileSync('ip', args, { stdio: 'pipe' });
};

/** Makes the hosts and links; names are prefixed so that runs do not meet. */
export function makeNetwork(hosts: readonly string[], links: readonly (readonly [string, string])[]): Network {
  const prefix = `isth${process.pid}-`;
  const space = (host: string): string => prefix + host;
  const address = (host: string): string => `10.77.${hosts.indexOf(host) + 1}.1`;
  const device = (to: string): string => `to-${to}`.slice(0, 15);
  const remove = (): void => {
    for (const host of hosts) {
      try {
        ip('netns', 'delete', space(host));
      } catch {
        // It was never made.
      }
    }
  };
  try {
    for (const host of hosts) {
      ip('netns', 'add', space(host));
      ip('-n', space(host), 'link', 'set', 'lo', 'up');
      ip('-n', space(host), 'addr', 'add', `${address(host)}/32`, 'dev', 'lo');
    }
    for (const [a, b] of links) {
      ip('link', 'add', device(b), 'netns', space(a), 'type', 'veth', 'peer', 'name', device(a), 'netns', space(b));
      for (const [from, to] of [[a, b], [b, a]] as const) {
        ip('-n', space(from), 'link', 'set', device(to), 'up');
        ip('-n', space(from), 'route', 'add', address(to), 'dev', device(to), 'src', address(from));
      }
    }
  } catch (error) {
    remove();
    throw error;
  }
  // A neighbour entry that points at nobody's MAC is a black hole: no reset, no unreachable, just silence.
  const silence = (from: string, to: string): void =>
    ip('-n', space(from), 'neigh', 'replace', address(to), 'lladdr', '02:00:00:00:be:ef', 'dev', device(to), 'nud', 'permanent');
  const speak = (from: string, to: string): void => ip('-n', space(from), 'neigh', 'delete', address(to), 'dev', device(to));
  return {
    address,
    namespace: space,
    on: (host, command) => ['ip', ['netns', 'exec', space(host), ...command]],
    cut: (a, b) => {
      silence(a, b);
      silence(b, a);
    },
    heal: (a, b) => {
      speak(a, b);
      speak(b, a);
    },
    remove,
  };
}
