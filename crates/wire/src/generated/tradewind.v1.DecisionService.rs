/// Generated server implementations.
pub mod decision_service_server {
    #![allow(
        unused_variables,
        dead_code,
        missing_docs,
        clippy::wildcard_imports,
        clippy::let_unit_value,
    )]
    use tonic::codegen::*;
    /// Generated trait containing gRPC methods that should be implemented for use with DecisionServiceServer.
    #[async_trait]
    pub trait DecisionService: std::marker::Send + std::marker::Sync + 'static {
        async fn decide(
            &self,
            request: tonic::Request<crate::proto::DecideRequest>,
        ) -> std::result::Result<tonic::Response<crate::answer::Answer>, tonic::Status>;
        async fn decide_batch(
            &self,
            request: tonic::Request<crate::proto::DecideBatchRequest>,
        ) -> std::result::Result<tonic::Response<crate::answer::Answer>, tonic::Status>;
        /// Server streaming response type for the DecideStream method.
        type DecideStreamStream: tonic::codegen::tokio_stream::Stream<
                Item = std::result::Result<crate::answer::Answer, tonic::Status>,
            >
            + std::marker::Send
            + 'static;
        async fn decide_stream(
            &self,
            request: tonic::Request<tonic::Streaming<crate::proto::DecideRequest>>,
        ) -> std::result::Result<
            tonic::Response<Self::DecideStreamStream>,
            tonic::Status,
        >;
        async fn explain(
            &self,
            request: tonic::Request<crate::proto::ExplainRequest>,
        ) -> std::result::Result<
            tonic::Response<crate::proto::ExplainResponse>,
            tonic::Status,
        >;
        /// Server streaming response type for the Follow method.
        type FollowStream: tonic::codegen::tokio_stream::Stream<
                Item = std::result::Result<crate::proto::Followed, tonic::Status>,
            >
            + std::marker::Send
            + 'static;
        async fn follow(
            &self,
            request: tonic::Request<crate::proto::FollowRequest>,
        ) -> std::result::Result<tonic::Response<Self::FollowStream>, tonic::Status>;
    }
    /// Which cache node for this client and this object, and which next if it fails?
    #[derive(Debug)]
    pub struct DecisionServiceServer<T> {
        inner: Arc<T>,
        accept_compression_encodings: EnabledCompressionEncodings,
        send_compression_encodings: EnabledCompressionEncodings,
        max_decoding_message_size: Option<usize>,
        max_encoding_message_size: Option<usize>,
    }
    impl<T> DecisionServiceServer<T> {
        pub fn new(inner: T) -> Self {
            Self::from_arc(Arc::new(inner))
        }
        pub fn from_arc(inner: Arc<T>) -> Self {
            Self {
                inner,
                accept_compression_encodings: Default::default(),
                send_compression_encodings: Default::default(),
                max_decoding_message_size: None,
                max_encoding_message_size: None,
            }
        }
        pub fn with_interceptor<F>(
            inner: T,
            interceptor: F,
        ) -> InterceptedService<Self, F>
        where
            F: tonic::service::Interceptor,
        {
            InterceptedService::new(Self::new(inner), interceptor)
        }
        /// Enable decompressing requests with the given encoding.
        #[must_use]
        pub fn accept_compressed(mut self, encoding: CompressionEncoding) -> Self {
            self.accept_compression_encodings.enable(encoding);
            self
        }
        /// Compress responses with the given encoding, if the client supports it.
        #[must_use]
        pub fn send_compressed(mut self, encoding: CompressionEncoding) -> Self {
            self.send_compression_encodings.enable(encoding);
            self
        }
        /// Limits the maximum size of a decoded message.
        ///
        /// Default: `4MB`
        #[must_use]
        pub fn max_decoding_message_size(mut self, limit: usize) -> Self {
            self.max_decoding_message_size = Some(limit);
            self
        }
        /// Limits the maximum size of an encoded message.
        ///
        /// Default: `usize::MAX`
        #[must_use]
        pub fn max_encoding_message_size(mut self, limit: usize) -> Self {
            self.max_encoding_message_size = Some(limit);
            self
        }
    }
    impl<T, B> tonic::codegen::Service<http::Request<B>> for DecisionServiceServer<T>
    where
        T: DecisionService,
        B: Body + std::marker::Send + 'static,
        B::Error: Into<StdError> + std::marker::Send + 'static,
    {
        type Response = http::Response<tonic::body::Body>;
        type Error = std::convert::Infallible;
        type Future = BoxFuture<Self::Response, Self::Error>;
        fn poll_ready(
            &mut self,
            _cx: &mut Context<'_>,
        ) -> Poll<std::result::Result<(), Self::Error>> {
            Poll::Ready(Ok(()))
        }
        fn call(&mut self, req: http::Request<B>) -> Self::Future {
            match req.uri().path() {
                "/tradewind.v1.DecisionService/Decide" => {
                    #[allow(non_camel_case_types)]
                    struct DecideSvc<T: DecisionService>(pub Arc<T>);
                    impl<
                        T: DecisionService,
                    > tonic::server::UnaryService<crate::proto::DecideRequest>
                    for DecideSvc<T> {
                        type Response = crate::answer::Answer;
                        type Future = BoxFuture<
                            tonic::Response<Self::Response>,
                            tonic::Status,
                        >;
                        fn call(
                            &mut self,
                            request: tonic::Request<crate::proto::DecideRequest>,
                        ) -> Self::Future {
                            let inner = Arc::clone(&self.0);
                            let fut = async move {
                                <T as DecisionService>::decide(&inner, request).await
                            };
                            Box::pin(fut)
                        }
                    }
                    let accept_compression_encodings = self.accept_compression_encodings;
                    let send_compression_encodings = self.send_compression_encodings;
                    let max_decoding_message_size = self.max_decoding_message_size;
                    let max_encoding_message_size = self.max_encoding_message_size;
                    let inner = self.inner.clone();
                    let fut = async move {
                        let method = DecideSvc(inner);
                        let codec = crate::answer::AnswerCodec::default();
                        let mut grpc = tonic::server::Grpc::new(codec)
                            .apply_compression_config(
                                accept_compression_encodings,
                                send_compression_encodings,
                            )
                            .apply_max_message_size_config(
                                max_decoding_message_size,
                                max_encoding_message_size,
                            );
                        let res = grpc.unary(method, req).await;
                        Ok(res)
                    };
                    Box::pin(fut)
                }
                "/tradewind.v1.DecisionService/DecideBatch" => {
                    #[allow(non_camel_case_types)]
                    struct DecideBatchSvc<T: DecisionService>(pub Arc<T>);
                    impl<
                        T: DecisionService,
                    > tonic::server::UnaryService<crate::proto::DecideBatchRequest>
                    for DecideBatchSvc<T> {
                        type Response = crate::answer::Answer;
                        type Future = BoxFuture<
                            tonic::Response<Self::Response>,
                            tonic::Status,
                        >;
                        fn call(
                            &mut self,
                            request: tonic::Request<crate::proto::DecideBatchRequest>,
                        ) -> Self::Future {
                            let inner = Arc::clone(&self.0);
                            let fut = async move {
                                <T as DecisionService>::decide_batch(&inner, request).await
                            };
                            Box::pin(fut)
                        }
                    }
                    let accept_compression_encodings = self.accept_compression_encodings;
                    let send_compression_encodings = self.send_compression_encodings;
                    let max_decoding_message_size = self.max_decoding_message_size;
                    let max_encoding_message_size = self.max_encoding_message_size;
                    let inner = self.inner.clone();
                    let fut = async move {
                        let method = DecideBatchSvc(inner);
                        let codec = crate::answer::AnswerCodec::default();
                        let mut grpc = tonic::server::Grpc::new(codec)
                            .apply_compression_config(
                                accept_compression_encodings,
                                send_compression_encodings,
                            )
                            .apply_max_message_size_config(
                                max_decoding_message_size,
                                max_encoding_message_size,
                            );
                        let res = grpc.unary(method, req).await;
                        Ok(res)
                    };
                    Box::pin(fut)
                }
                "/tradewind.v1.DecisionService/DecideStream" => {
                    #[allow(non_camel_case_types)]
                    struct DecideStreamSvc<T: DecisionService>(pub Arc<T>);
                    impl<
                        T: DecisionService,
                    > tonic::server::StreamingService<crate::proto::DecideRequest>
                    for DecideStreamSvc<T> {
                        type Response = crate::answer::Answer;
                        type ResponseStream = T::DecideStreamStream;
                        type Future = BoxFuture<
                            tonic::Response<Self::ResponseStream>,
                            tonic::Status,
                        >;
                        fn call(
                            &mut self,
                            request: tonic::Request<
                                tonic::Streaming<crate::proto::DecideRequest>,
                            >,
                        ) -> Self::Future {
                            let inner = Arc::clone(&self.0);
                            let fut = async move {
                                <T as DecisionService>::decide_stream(&inner, request).await
                            };
                            Box::pin(fut)
                        }
                    }
                    let accept_compression_encodings = self.accept_compression_encodings;
                    let send_compression_encodings = self.send_compression_encodings;
                    let max_decoding_message_size = self.max_decoding_message_size;
                    let max_encoding_message_size = self.max_encoding_message_size;
                    let inner = self.inner.clone();
                    let fut = async move {
                        let method = DecideStreamSvc(inner);
                        let codec = crate::answer::AnswerCodec::default();
                        let mut grpc = tonic::server::Grpc::new(codec)
                            .apply_compression_config(
                                accept_compression_encodings,
                                send_compression_encodings,
                            )
                            .apply_max_message_size_config(
                                max_decoding_message_size,
                                max_encoding_message_size,
                            );
                        let res = grpc.streaming(method, req).await;
                        Ok(res)
                    };
                    Box::pin(fut)
                }
                "/tradewind.v1.DecisionService/Explain" => {
                    #[allow(non_camel_case_types)]
                    struct ExplainSvc<T: DecisionService>(pub Arc<T>);
                    impl<
                        T: DecisionService,
                    > tonic::server::UnaryService<crate::proto::ExplainRequest>
                    for ExplainSvc<T> {
                        type Response = crate::proto::ExplainResponse;
                        type Future = BoxFuture<
                            tonic::Response<Self::Response>,
                            tonic::Status,
                        >;
                        fn call(
                            &mut self,
                            request: tonic::Request<crate::proto::ExplainRequest>,
                        ) -> Self::Future {
                            let inner = Arc::clone(&self.0);
                            let fut = async move {
                                <T as DecisionService>::explain(&inner, request).await
                            };
                            Box::pin(fut)
                        }
                    }
                    let accept_compression_encodings = self.accept_compression_encodings;
                    let send_compression_encodings = self.send_compression_encodings;
                    let max_decoding_message_size = self.max_decoding_message_size;
                    let max_encoding_message_size = self.max_encoding_message_size;
                    let inner = self.inner.clone();
                    let fut = async move {
                        let method = ExplainSvc(inner);
                        let codec = crate::answer::MessageCodec::default();
                        let mut grpc = tonic::server::Grpc::new(codec)
                            .apply_compression_config(
                                accept_compression_encodings,
                                send_compression_encodings,
                            )
                            .apply_max_message_size_config(
                                max_decoding_message_size,
                                max_encoding_message_size,
                            );
                        let res = grpc.unary(method, req).await;
                        Ok(res)
                    };
                    Box::pin(fut)
                }
                "/tradewind.v1.DecisionService/Follow" => {
                    #[allow(non_camel_case_types)]
                    struct FollowSvc<T: DecisionService>(pub Arc<T>);
                    impl<
                        T: DecisionService,
                    > tonic::server::ServerStreamingService<crate::proto::FollowRequest>
                    for FollowSvc<T> {
                        type Response = crate::proto::Followed;
                        type ResponseStream = T::FollowStream;
                        type Future = BoxFuture<
                            tonic::Response<Self::ResponseStream>,
                            tonic::Status,
                        >;
                        fn call(
                            &mut self,
                            request: tonic::Request<crate::proto::FollowRequest>,
                        ) -> Self::Future {
                            let inner = Arc::clone(&self.0);
                            let fut = async move {
                                <T as DecisionService>::follow(&inner, request).await
                            };
                            Box::pin(fut)
                        }
                    }
                    let accept_compression_encodings = self.accept_compression_encodings;
                    let send_compression_encodings = self.send_compression_encodings;
                    let max_decoding_message_size = self.max_decoding_message_size;
                    let max_encoding_message_size = self.max_encoding_message_size;
                    let inner = self.inner.clone();
                    let fut = async move {
                        let method = FollowSvc(inner);
                        let codec = crate::answer::MessageCodec::default();
                        let mut grpc = tonic::server::Grpc::new(codec)
                            .apply_compression_config(
                                accept_compression_encodings,
                                send_compression_encodings,
                            )
                            .apply_max_message_size_config(
                                max_decoding_message_size,
                                max_encoding_message_size,
                            );
                        let res = grpc.server_streaming(method, req).await;
                        Ok(res)
                    };
                    Box::pin(fut)
                }
                _ => {
                    Box::pin(async move {
                        let mut response = http::Response::new(
                            tonic::body::Body::default(),
                        );
                        let headers = response.headers_mut();
                        headers
                            .insert(
                                tonic::Status::GRPC_STATUS,
                                (tonic::Code::Unimplemented as i32).into(),
                            );
                        headers
                            .insert(
                                http::header::CONTENT_TYPE,
                                tonic::metadata::GRPC_CONTENT_TYPE,
                            );
                        Ok(response)
                    })
                }
            }
        }
    }
    impl<T> Clone for DecisionServiceServer<T> {
        fn clone(&self) -> Self {
            let inner = self.inner.clone();
            Self {
                inner,
                accept_compression_encodings: self.accept_compression_encodings,
                send_compression_encodings: self.send_compression_encodings,
                max_decoding_message_size: self.max_decoding_message_size,
                max_encoding_message_size: self.max_encoding_message_size,
            }
        }
    }
    /// Generated gRPC service name
    pub const SERVICE_NAME: &str = "tradewind.v1.DecisionService";
    impl<T> tonic::server::NamedService for DecisionServiceServer<T> {
        const NAME: &'static str = SERVICE_NAME;
    }
}
