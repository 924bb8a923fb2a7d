//! The Lambda function `archive`.

use archive::{Function, ScheduleEvent};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use shared::lambda::Call;

fn main() -> Result<(), Error> {
    shared::lambda::run(serve())
}

async fn serve() -> Result<(), Error> {
    let (_, store) = shared::lambda::start().await?;
    let function =
        &Function::from_env(store).inspect_err(|error| shared::lambda::log::start_failed(error))?;
    let answer = async |event: LambdaEvent<ScheduleEvent>| {
        let call = Call::of_job(&event.context, std::time::SystemTime::now());
        function.run(&event.payload, call).await
    };
    lambda_runtime::run(service_fn(|event| Box::pin(answer(event)))).await
}
