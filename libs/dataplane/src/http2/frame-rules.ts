// What a frame must be whatever came before it: on a stream or on none, and of which length. RFC 9113 §6.
import { type Breach, breach, ERROR, FLAG, FRAME } from './protocol.ts';

/** The rule that a frame breaks by itself. DATA and the length of PRIORITY, a stream error, are the receiver's. */
export function frameBreach(type: number, flags: number, id: number, length: number): Breach | undefined {
  switch (type) {
    case FRAME.headers:
      return id === 0 ? streamZero('HEADERS') : undefined;
    case FRAME.priority:
      return id === 0 ? streamZero('PRIORITY') : undefined;
    case FRAME.rstStream:
      return id === 0 ? streamZero('RST_STREAM') : length !== 4 ? frameSize('RST_STREAM has four octets') : undefined;
    case FRAME.settings:
      if (id !== 0) return onStream('SETTINGS');
      if ((flags & FLAG.ack) !== 0) return length !== 0 ? frameSize('a SETTINGS ack is empty') : undefined;
      return length % 6 !== 0 ? frameSize('SETTINGS come in sixes') : undefined;
    case FRAME.pushPromise:
      return breach(ERROR.protocol, 'h2-protocol', 'PUSH_PROMISE where none is allowed');
    case FRAME.ping:
      return id !== 0 ? onStream('PING') : length !== 8 ? frameSize('PING has eight octets') : undefined;
    case FRAME.goaway:
      return id !== 0 ? onStream('GOAWAY') : length < 8 ? frameSize('GOAWAY has at least eight octets') : undefined;
    case FRAME.windowUpdate:
      return length !== 4 ? frameSize('WINDOW_UPDATE has four octets') : undefined;
    default:
      return undefined;
  }
}

function streamZero(name: string): Breach {
  return breach(ERROR.protocol, 'h2-protocol', `${name} on stream 0`);
}

function onStream(name: string): Breach {
  return breach(ERROR.protocol, 'h2-protocol', `${name} on a stream`);
}

function frameSize(detail: string): Breach {
  return breach(ERROR.frameSize, 'h2-frame-size', detail);
}
