// The federation as this cluster last heard of it, on disk: what is acknowledged to the trust root must outlive the process.
import { messageOf, type TrustFacts } from '@isthmus/model';
import type { Log } from '@isthmus/telemetry';
import { openSerial } from '../serial.ts';
import type { StateOf } from '../state.ts';
import type { KnownFederation } from './federation-view.ts';
import type { ViewState } from './state.ts';

export interface KeptView {
  /** By trust domain: the sequence of its bundle that is in force and on disk. */
  held(): TrustFacts['held'];
  /** Writes what is known now; resolves when it is on disk, or could not be put there. */
  save(): Promise<void>;
  /** Resolves when nothing is being written any more. */
  close(): Promise<void>;
}

/** `cached`: what was on disk at the start. `onKept` is told after each write. */
export function keepView(options: { readonly views: StateOf<ViewState>; readonly cached: ViewState | undefined; readonly known: KnownFederation; readonly onKept: () => void; readonly log: Log }): KeptView {
  const { views, cached, known, onKept, log } = options;
  const serial = openSerial();
  let onDisk = cached === undefined ? {} : sequencesOf(cached);
  const write = async (): Promise<void> => {
    const state = known.toState();
    await views.write(state);
    onDisk = sequencesOf(state);
    onKept();
  };
  return {
    held: () => Object.fromEntries(known.bundles.all().flatMap((b) => (onDisk[b.trustDomain] === undefined ? [] : [[b.trustDomain, Math.min(b.sequence, onDisk[b.trustDomain] ?? 0)]]))),
    save: () => serial(write).catch((error: unknown) => log.warn('the view could not be kept on disk', { error: messageOf(error) })),
    close: () => serial(async () => undefined),
  };
}

function sequencesOf({ bundles }: ViewState): TrustFacts['held'] {
  return Object.fromEntries(bundles.map((b) => [b.trustDomain, b.sequence]));
}
