//! The control door: how many requests each node got, and how it shall behave, by HTTP.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::json;

use super::{Behaviour, NodesError, Shared};

const PAGES: &str = "no such page, must be `GET /nodes` or `POST /nodes/{id}?behaviour=…`";

/// All pages of the control door.
pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/nodes", get(list))
        .route("/nodes/{id}", post(behave))
        .fallback(|| async { fault(StatusCode::NOT_FOUND, PAGES) })
        .with_state(shared)
}

async fn list(State(shared): State<Arc<Shared>>) -> Response {
    Json(shared.counts()).into_response()
}

async fn behave(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    Query(parameters): Query<BTreeMap<String, String>>,
) -> Response {
    let text = parameters.get("behaviour").map_or("", String::as_str);
    let behaviour: Behaviour = match text.parse() {
        Ok(behaviour) => behaviour,
        Err(error) => return fault(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    match shared.behave(&id, behaviour).await {
        Ok(()) => Json(json!({ "id": id, "behaviour": behaviour })).into_response(),
        Err(error @ NodesError::UnknownNode { .. }) => {
            fault(StatusCode::NOT_FOUND, &error.to_string())
        }
        Err(error) => fault(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

fn fault(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "error": message }))).into_response()
}
