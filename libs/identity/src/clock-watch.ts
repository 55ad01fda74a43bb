// Whether this machine's clock agrees with that of whoever issues its certificates: every answer says when it was asked for, in its serial number.
import { X509Certificate } from 'node:crypto';
import { CLOCK_SKEW_MS, readSvidSerial } from '@isthmus/pki';
import type { Clock } from '@isthmus/runtime';
import type { Log, Metrics } from '@isthmus/telemetry';

/** Half of what certificates allow for: the alarm comes before the first handshake fails. */
export const ALARM_MS = CLOCK_SKEW_MS / 2;

/** How far the issuer's clock is ahead (positive) or behind, in milliseconds: 0 where its moment lies between asking and answer. */
export function skewOf(issuedAtMs: number, sentMs: number, receivedMs: number): number {
  if (issuedAtMs > receivedMs) return issuedAtMs - receivedMs;
  return issuedAtMs < sentMs ? issuedAtMs - sentMs : 0;
}

export interface ClockWatch {
  /** Takes a certificate (DER) that was asked for at `sentMs` and came now; one of another issuer's making tells nothing. */
  note(certificate: Buffer, sentMs: number): void;
  /** By the last certificate; undefined before the first. */
  skewMs(): number | undefined;
}

/** Sets `isthmus_identity_clock_skew_seconds`, and logs where the alarm begins and ends. `issuer`: `trust-root` or `control-plane`. */
export function openClockWatch(options: { readonly issuer: string; readonly clock: Clock; readonly log: Log; readonly metrics?: Metrics | undefined }): ClockWatch {
  const { issuer, clock, log } = options;
  const gauge = options.metrics?.gauge('isthmus_identity_clock_skew_seconds', 'How far the clock of who issues this process’s certificates is ahead of this machine’s, at the last renewal; beyond 60 either way certificates are refused', ['issuer']);
  let skewMs: number | undefined;
  return {
    skewMs: () => skewMs,
    note: (certificate, sentMs) => {
      const issued = readSvidSerial(new X509Certificate(certificate).serialNumber);
      if (issued === undefined) return;
      const wasFar = Math.abs(skewMs ?? 0) >= ALARM_MS;
      skewMs = skewOf(issued.issuedAtMs, sentMs, clock.nowMs());
      gauge?.set(skewMs / 1_000, { issuer });
      const isFar = Math.abs(skewMs) >= ALARM_MS;
      if (isFar) log.error('clocks differ: beyond a minute certificates are refused; set this machine’s clock, or the issuer’s', { issuer, skewMs });
      else if (wasFar) log.info('clocks agree again', { issuer, skewMs });
    },
  };
}
