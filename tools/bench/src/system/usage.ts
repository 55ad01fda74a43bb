// What a process and its children have used: CPU time and resident memory, as the kernel counts them.
import { readFileSync } from 'node:fs';

/** `/proc/PID/stat` counts in ticks of a hundredth of a second on every Linux architecture Node runs on (`USER_HZ`). */
const TICK_MS = 10;

/** User and system time of a process and its children, in milliseconds, all threads included, ended ones too. */
export function cpuMsOf(pid: number): number {
  return withChildren(pid).reduce((sum, id) => sum + cpuMsIn(readProc(`${id}/stat`)), 0);
}

/** Resident memory of a process and its children in bytes. Pages shared between them count once for each. */
export function residentBytesOf(pid: number): number {
  return withChildren(pid).reduce((sum, id) => sum + Number(/^VmRSS:\s+(\d+) kB$/m.exec(readProc(`${id}/status`))?.[1] ?? 0) * 1_024, 0);
}

/** User and system time in the text of `/proc/PID/stat` (proc_pid_stat(5): fields 14 and 15), in milliseconds. */
export function cpuMsIn(stat: string): number {
  // The command's name is in parentheses and may hold spaces and parentheses itself.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11] ?? 0) + Number(fields[12] ?? 0)) * TICK_MS;
}

function withChildren(pid: number): number[] {
  const children = readProc(`${pid}/task/${pid}/children`).split(' ').filter((id) => id.trim() !== '');
  return [pid, ...children.flatMap((id) => withChildren(Number(id)))];
}

function readProc(path: string): string {
  try {
    return readFileSync(`/proc/${path}`, 'utf8');
  } catch {
    return ''; // it ended meanwhile
  }
}
