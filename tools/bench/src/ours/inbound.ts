// Our agent's inbound proxy in a process of its own: mutual TLS in, plain out to the application.
import { serveCommands } from '../system/serve.ts';
import { type AgentSettings, startAgent } from './agent.ts';
import { SERVICE } from './service.ts';

serveCommands({
  start: async (settings: AgentSettings) => {
    const proxies = await startAgent(settings);
    const inbound = await proxies.inbound({
      listen: { host: '127.0.0.1', port: settings.listenPort },
      service: SERVICE,
      instance: 'bench',
      port: 'http',
      application: { host: '127.0.0.1', port: settings.upstreamPort },
      svids: 'service',
    });
    return { port: inbound.port, about: `${proxies.engine} engine` };
  },
});
