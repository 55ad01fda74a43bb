// The gRPC names the store uses, in one place.
export {
  ChannelCredentials,
  type CallOptions,
  type ClientDuplexStream,
  type InterceptorOptions,
  InterceptingCall,
  Metadata,
  type NextCall,
  Server,
  type ServerDuplexStream,
  ServerCredentials,
  type ServiceError,
  status,
  type UntypedServiceImplementation,
  type handleUnaryCall,
  type sendUnaryData,
  type ServerUnaryCall,
} from '@isthmus/rpc';
