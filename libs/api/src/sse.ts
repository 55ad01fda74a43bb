// Server-sent events read from a stream of bytes, within bounds.
import { fail } from './errors.ts';

/** One event. Source: WHATWG HTML, server-sent events. */
export type ServerSentEvent = { readonly event: string; readonly data: string; readonly id: string | undefined };

/** The longest event taken, in characters. */
const MAX_EVENT_CHARS = 2 * 1024 * 1024;

/** Reads events; comments (heartbeats) are told as events of the name `comment`. **Throws** API_ANSWER_INVALID for an event that is too long. */
export async function* readEvents(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<ServerSentEvent, void, undefined> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of bytes) {
    rest += decoder.decode(chunk, { stream: true });
    for (let end = rest.indexOf('\n\n'); end !== -1; end = rest.indexOf('\n\n')) {
      const event = toEvent(rest.slice(0, end));
      rest = rest.slice(end + 2);
      if (event !== undefined) yield event;
    }
    if (rest.length > MAX_EVENT_CHARS) throw fail('API_ANSWER_INVALID', `an event is longer than ${MAX_EVENT_CHARS} characters`);
  }
}

function toEvent(block: string): ServerSentEvent | undefined {
  let [event, id] = ['message', undefined as string | undefined];
  const data: string[] = [];
  for (const line of block.split('\n')) {
    if (line.startsWith(':')) return { event: 'comment', data: line.slice(1).trim(), id: undefined };
    const at = line.indexOf(':');
    const field = at === -1 ? line : line.slice(0, at);
    const value = at === -1 ? '' : line.slice(at + 1).replace(/^ /, '');
    if (field === 'event') event = value;
    else if (field === 'id') id = value;
    else if (field === 'data') data.push(value);
  }
  return data.length === 0 ? undefined : { event, data: data.join('\n'), id };
}
