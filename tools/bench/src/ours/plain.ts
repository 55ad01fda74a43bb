// Our HTTP codecs and the Linux engine's connections in a process of their own, plain on both sides: no mesh, no decisions.
import { startPlainRelay } from '@isthmus/dataplane/testing';
import { serveCommands } from '../system/serve.ts';

serveCommands({
  start: async ({ listenPort, upstreamPort }: { readonly listenPort: number; readonly upstreamPort: number }) => {
    const relay = await startPlainRelay({ host: '127.0.0.1', port: listenPort }, { host: '127.0.0.1', port: upstreamPort });
    return { port: relay.port, about: `codecs alone, ${relay.engine} engine` };
  },
});
