// How many descriptors this process may open, and how many of them connections may take.
import { readFileSync } from 'node:fs';

/** Descriptors kept for everything but connections: the admin socket, health, logs, state files, the control plane. */
const RESERVED_DESCRIPTORS = 96;
/** A relayed connection has two sockets. Pipes between them come from a small pool. */
const DESCRIPTORS_PER_CONNECTION = 2;

/** The soft limit of open files (RLIMIT_NOFILE); undefined where the system does not say. */
export function descriptorLimit(): number | undefined {
  try {
    const soft = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
    return soft === undefined ? undefined : Number(soft);
  } catch {
    return undefined;
  }
}

/** As many connections as were asked for, or as many as the limit bears with the rest of the process alive (reliability 59); at least 1. */
export function connectionsWithin(wanted: number, limit: number | undefined): number {
  if (limit === undefined) return wanted;
  return Math.max(1, Math.min(wanted, Math.floor((limit - RESERVED_DESCRIPTORS) / DESCRIPTORS_PER_CONNECTION)));
}
