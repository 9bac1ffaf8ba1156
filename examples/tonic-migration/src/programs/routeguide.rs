/// Knows a few places.
#[derive(Debug)]
pub struct Guide {
    features: Arc<Vec<Feature>>,
}

impl Default for Guide {
    fn default() -> Self {
        let feature = |name: &str, latitude, longitude| Feature {
            name: name.to_owned(),
            location: Some(Point {
                latitude,
                longitude,
            }),
        };
        Self {
            features: Arc::new(vec![
                feature("Berkshire Valley", 10, 20),
                feature("Patriots Path", 30, 40),
                feature("Far Away", 900, 900),
            ]),
        }
    }
}

fn is_inside(point: Option<&Point>, rectangle: &Rectangle) -> bool {
    let (Some(point), Some(lo), Some(hi)) = (point, &rectangle.lo, &rectangle.hi) else {
        return false;
    };
    (lo.latitude..=hi.latitude).contains(&point.latitude)
        && (lo.longitude..=hi.longitude).contains(&point.longitude)
}

#[async_trait]
impl RouteGuide for Guide {
    async fn get_feature(&self, request: Request<Point>) -> Result<Response<Feature>, Status> {
        let place = request.get_ref();
        let found = self
            .features
            .iter()
            .find(|feature| feature.location.as_ref() == Some(place));
        match found {
            Some(feature) => Ok(Response::new(feature.clone())),
            None => Err(Status::not_found("nothing is there")),
        }
    }

    type ListFeaturesStream = ReceiverStream<Result<Feature, Status>>;

    async fn list_features(
        &self,
        request: Request<Rectangle>,
    ) -> Result<Response<Self::ListFeaturesStream>, Status> {
        let (send, receive) = mpsc::channel(4);
        let features = Arc::clone(&self.features);
        tokio::spawn(async move {
            let rectangle = request.into_inner();
            for feature in features.iter() {
                if is_inside(feature.location.as_ref(), &rectangle)
                    && send.send(Ok(feature.clone())).await.is_err()
                {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receive)))
    }

    async fn record_route(
        &self,
        request: Request<Streaming<Point>>,
    ) -> Result<Response<RouteSummary>, Status> {
        let mut points = request.into_inner();
        let mut summary = RouteSummary::default();
        while let Some(point) = points.next().await {
            let point = point?;
            summary.point_count += 1;
            for feature in self.features.iter() {
                if feature.location.as_ref() == Some(&point) {
                    summary.feature_count += 1;
                }
            }
        }
        Ok(Response::new(summary))
    }

    type RouteChatStream = Pin<Box<dyn Stream<Item = Result<RouteNote, Status>> + Send + 'static>>;

    async fn route_chat(
        &self,
        request: Request<Streaming<RouteNote>>,
    ) -> Result<Response<Self::RouteChatStream>, Status> {
        let mut seen = Vec::new();
        let notes = request.into_inner().map(move |note| {
            let note = note?;
            seen.push(note.message.clone());
            Ok(RouteNote {
                message: seen.join(", "),
                ..note
            })
        });
        Ok(Response::new(Box::pin(notes)))
    }
}

/// Serves until `stop`.
///
/// # Errors
/// When the server fails.
pub async fn serve(
    listener: TcpListener,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), BoxError> {
    Server::builder()
        .add_service(RouteGuideServer::new(Guide::default()))
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop)
        .await?;
    Ok(())
}

/// Calls every shape, and gives what it heard.
///
/// # Errors
/// When a call fails that should not.
pub async fn call(uri: String) -> Result<Vec<String>, BoxError> {
    let point = |latitude, longitude| Point {
        latitude,
        longitude,
    };
    let mut heard = Vec::new();
    let mut client = RouteGuideClient::new(Endpoint::from_shared(uri)?.connect().await?);

    let feature = client.get_feature(Request::new(point(10, 20))).await?;
    heard.push(feature.into_inner().name);
    if let Err(status) = client.get_feature(point(0, 0)).await {
        heard.push(format!("{:?}: {}", status.code(), status.message()));
    }

    let rectangle = Rectangle {
        lo: Some(point(0, 0)),
        hi: Some(point(100, 100)),
    };
    let mut features = client.list_features(rectangle).await?.into_inner();
    while let Some(feature) = features.message().await? {
        heard.push(feature.name);
    }

    let points = [point(10, 20), point(1, 1), point(30, 40)];
    let route = Request::new(tokio_stream::iter(points));
    let summary = client.record_route(route).await?.into_inner();
    heard.push(format!("{} {}", summary.point_count, summary.feature_count));

    let notes = ["one", "two"].map(|message| RouteNote {
        location: None,
        message: message.to_owned(),
    });
    let mut chat = client.route_chat(tokio_stream::iter(notes)).await?.into_inner();
    while let Some(note) = chat.message().await? {
        heard.push(note.message);
    }
    Ok(heard)
}
