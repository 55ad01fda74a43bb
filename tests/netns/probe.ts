// Sends one request after the other to a URL and prints what came back, a line of JSON each; runs until it is killed.
import { Agent, get } from 'node:http';

const url = process.argv[2] ?? '';
const agent = new Agent({ keepAlive: true, maxSockets: 1 });

function ask(): void {
  const request = get(url, { agent, timeout: 10_000 }, (response) => {
    const chunks: Buffer[] = [];
    response.on('data', (chunk: Buffer) => chunks.push(chunk));
    response.on('end', () => tell(response.statusCode === 200, Buffer.concat(chunks).toString()));
  });
  request.on('timeout', () => request.destroy(new Error('no answer within 10 s')));
  request.on('error', (error) => tell(false, error.message));
}

function tell(ok: boolean, detail: string): void {
  process.stdout.write(`${JSON.stringify({ ok, detail })}\n`);
  setTimeout(ask, 10);
}

ask();
