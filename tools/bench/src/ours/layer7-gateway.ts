// Our gateway's layer-7 listener in a process of its own: mutual TLS in, mutual TLS out to the one endpoint of a snapshot.
import type { TrustDomain } from '@isthmus/model';
import { serveCommands } from '../system/serve.ts';
import { type AgentSettings, startAgent } from './agent.ts';
import { TRUST_DOMAIN } from './service.ts';

serveCommands({
  start: async (settings: AgentSettings) => {
    const proxies = await startAgent(settings);
    const listener = await proxies.gatewayHttp({ listen: { host: '127.0.0.1', port: settings.listenPort }, trustDomain: TRUST_DOMAIN as TrustDomain, svids: 'gateway' });
    return { port: listener.port, about: `${proxies.engine} engine` };
  },
});
