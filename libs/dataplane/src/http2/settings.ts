// SETTINGS: what this end asks of the other, and what the other asked of this one. RFC 9113 §6.5.
import type { HttpLimits } from '../http/exchange.ts';
import { type Breach, breach, DEFAULT_WINDOW_BYTES, ERROR, MAX_FRAME_BYTES, MAX_WINDOW_BYTES, SETTING } from './protocol.ts';

/** The connection's window is so many times a stream's: a few streams whose takers wait do not stop the others. */
const WINDOW_STREAMS = 8;
const MAX_PEER_FRAME_BYTES = 0xff_ffff;

/** The windows that the peer is given. A stream's is never less than what the peer may send before it has read the settings. */
export function ownWindows(limits: HttpLimits): { readonly streamBytes: number; readonly connectionBytes: number } {
  const streamBytes = Math.min(Math.max(limits.bufferBytes, DEFAULT_WINDOW_BYTES), MAX_WINDOW_BYTES / WINDOW_STREAMS);
  return { streamBytes, connectionBytes: streamBytes * WINDOW_STREAMS };
}

/** What this end says first, flat: name, value, name, value. */
export function ownSettings(limits: HttpLimits, isServer: boolean): readonly number[] {
  const pairs = [SETTING.initialWindowSize, ownWindows(limits).streamBytes, SETTING.maxHeaderListSize, limits.headerBytes];
  if (isServer) pairs.push(SETTING.maxConcurrentStreams, limits.streams, SETTING.enableConnectProtocol, 1);
  else pairs.push(SETTING.enablePush, 0);
  return pairs;
}

/** What the peer has set, its defaults until then. */
export class PeerSettings {
  /** Streams that it lets us open at once; its SETTINGS_MAX_CONCURRENT_STREAMS, which has no default: a cautious one. */
  streams = 100;
  /** The window that it gives a new stream. */
  windowBytes = DEFAULT_WINDOW_BYTES;
  /** The largest payload that it takes. */
  frameBytes = MAX_FRAME_BYTES;
  /** It takes extended CONNECT. RFC 8441 §3. */
  takesTunnels = false;
  /** Its first SETTINGS have come, which stand before all else. RFC 9113 §3.4. */
  hasCome = false;
  /** It has acknowledged ours. */
  hasOurs = false;
  /** It has ours, or had time enough for them: until then it may not know how many streams it may open. */
  knowsOurs = false;
  readonly #isServer: boolean;

  /** `isServer`: which end this is; the peer is the other. */
  constructor(isServer: boolean) {
    this.#isServer = isServer;
  }

  /** It acknowledges ours. RFC 9113 §6.5.3. */
  acknowledged(): void {
    this.hasOurs = true;
    this.knowsOurs = true;
  }

  /** Notes one setting, or says why nobody may set this. RFC 9113 §6.5.2; what it does not know passes. */
  take(name: number, value: number): Breach | undefined {
    switch (name) {
      case SETTING.enablePush:
        return value > 1 || (value === 1 && !this.#isServer) ? breach(ERROR.protocol, 'h2-protocol', 'ENABLE_PUSH is wrong') : undefined;
      case SETTING.maxConcurrentStreams:
        this.streams = value;
        return undefined;
      case SETTING.initialWindowSize:
        if (value > MAX_WINDOW_BYTES) return breach(ERROR.flowControl, 'h2-flow-control', 'INITIAL_WINDOW_SIZE is wrong');
        this.windowBytes = value;
        return undefined;
      case SETTING.maxFrameSize:
        if (value < MAX_FRAME_BYTES || value > MAX_PEER_FRAME_BYTES) return breach(ERROR.protocol, 'h2-protocol', 'MAX_FRAME_SIZE is wrong');
        this.frameBytes = value;
        return undefined;
      case SETTING.enableConnectProtocol:
        if (value > 1) return breach(ERROR.protocol, 'h2-protocol', 'ENABLE_CONNECT_PROTOCOL is wrong');
        this.takesTunnels = value === 1;
        return undefined;
      default:
        return undefined;
    }
  }
}
