// What the operating system knows of the demo's processes: resident memory, and when `npm start` began.
import { readFileSync } from 'node:fs';

/** Resident memory in MiB from /proc/PID/status (VmRSS); undefined where the system has no /proc or the process is gone. */
export function residentMemoryMib(pid: number): number | undefined {
  const kib = /^VmRSS:\s+(\d+) kB$/m.exec(readProc(`${pid}/status`) ?? '')?.[1];
  return kib === undefined ? undefined : Math.round(Number(kib) / 102.4) / 10;
}

/** How long ago the command began, in ms: `npm start` where npm runs this process, else this process. */
export function sinceCommandStartMs(): number {
  const ownMs = performance.now();
  const npm = npmAncestor(process.ppid, 3);
  const startTicks = npm === undefined ? undefined : fieldsAfterName(readProc(`${npm}/stat`))?.[19];
  const uptimeSeconds = readProc('uptime')?.split(' ')[0];
  if (startTicks === undefined || uptimeSeconds === undefined) return ownMs;
  // Field 22 of /proc/PID/stat counts in USER_HZ, which is 100 on every Linux Node runs on (proc(5)).
  return Math.max(ownMs, Number(uptimeSeconds) * 1_000 - Number(startTicks) * 10);
}

function npmAncestor(pid: number, depth: number): number | undefined {
  if (depth === 0 || pid <= 1) return undefined;
  const command = readProc(`${pid}/cmdline`)?.replaceAll('\0', ' ') ?? '';
  if (/^npm |[/ ]npm(-cli\.js)? /.test(command)) return pid;
  const parent = fieldsAfterName(readProc(`${pid}/stat`))?.[1];
  return parent === undefined ? undefined : npmAncestor(Number(parent), depth - 1);
}

/** Fields of a stat line after the name in brackets, which may hold spaces: [0] is field 3, the state. */
function fieldsAfterName(stat: string | undefined): string[] | undefined {
  return stat?.slice(stat.lastIndexOf(')') + 2).split(' ');
}

function readProc(path: string): string | undefined {
  try {
    return readFileSync(`/proc/${path}`, 'utf8');
  } catch {
    return undefined;
  }
}
