// The application of the demo: a tiny HTTP server that says which cluster and instance answered and who asked.
// It imports next to nothing, so that it starts at once: it stands for any program, and none of Isthmus is in it.
import { createServer } from 'node:http';

const [port, cluster, instance] = process.argv.slice(2);
let requests = 0;

const server = createServer((request, response) => {
  requests += 1;
  request.resume();
  const url = new URL(request.url ?? '/', 'http://workload');
  const answer = (): void => {
    response.setHeader('content-type', 'application/json');
    response.end(
      JSON.stringify({
        cluster,
        instance,
        path: url.pathname,
        host: request.headers.host,
        // The peer's identity as its agent proved it: Envoy's header, `URI=spiffe://…` (XFCC).
        caller: request.headers['x-forwarded-client-cert'],
        requests,
      }),
    );
  };
  const delayMs = Number(url.searchParams.get('delayMs') ?? 0);
  if (delayMs > 0) setTimeout(answer, delayMs);
  else answer();
});
server.keepAliveTimeout = 60_000;
server.listen(Number(port), '127.0.0.1', () => process.stdout.write(`${JSON.stringify({ level: 'info', message: 'ready', port: Number(port) })}\n`));
process.on('SIGTERM', () => {
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});
